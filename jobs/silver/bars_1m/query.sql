with bars as (
    select
        symbol,
        ts,
        date_in_zone(ts, 'America/New_York') as session_date,
        open,
        high,
        low,
        close,
        volume,
        feed,
        source_file,
        line
    from bronze.bars_1m
),

sessions as (
    select session_date, open_ts, close_ts
    from silver.sessions
)

select
    bars.symbol,
    bars.ts,
    bars.session_date,
    case
        when bars.ts < sessions.open_ts then 'pre'
        when bars.ts < sessions.close_ts then 'regular'
        when bars.ts >= sessions.close_ts then 'post'
    end as session,
    bars.open,
    bars.high,
    bars.low,
    bars.close,
    bars.volume,
    bars.feed,
    bars.source_file as _source_file,
    bars.line as _line
from bars
left join sessions on sessions.session_date = bars.session_date
