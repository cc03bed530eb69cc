select
    symbol,
    ts,
    open,
    high,
    low,
    close,
    volume,
    source_file,
    line
from bronze.bars
