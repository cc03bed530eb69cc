select
    ts,
    open,
    high,
    low,
    close,
    volume,
    feed,
    symbol,
    source_file,
    line
from raw.bars_1m
