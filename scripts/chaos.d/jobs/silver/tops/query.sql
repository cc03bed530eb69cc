select
    symbol,
    cast(ts as date) as since,
    round(max(high)) as top
from silver.bars
group by symbol, cast(ts as date)
