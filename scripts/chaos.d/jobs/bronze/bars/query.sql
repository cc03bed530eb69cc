select
    ts,
    open,
    high,
    low,
    close,
    volume,
    symbol,
    source_file,
    line
from raw.bars
