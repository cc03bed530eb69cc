-- Sessions open at half past an hour of UTC, so quarters of an hour of UTC begin at the open.
with bars as (
    select
        symbol,
        session_date,
        ts,
        date_bin(interval '15 minutes', ts) as bucket,
        open,
        high,
        low,
        close,
        volume
    from silver.bars_1m
    where session = 'regular'
)

select
    symbol,
    bucket as ts,
    session_date,
    first_value(open order by ts) as open,
    max(high) as high,
    min(low) as low,
    last_value(close order by ts) as close,
    sum(volume) as volume,
    count(*) as bars
from bars
group by symbol, session_date, bucket
