select
    session_date,
    open,
    high,
    low,
    close,
    volume,
    name,
    feed,
    symbol,
    source_file,
    line
from raw.bars_1d
