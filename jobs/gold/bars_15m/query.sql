-- Sessions open at half past an hour of UTC, so quarters of an hour of UTC begin at the open.
-- date_bin gives nanoseconds, which no Delta table holds.
with bars as (
    select
        symbol,
        session_date,
        ts,
        arrow_cast(date_bin(interval '15 minutes', ts), 'Timestamp(us, "UTC")') as bucket,
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
