with bars as (
    select
        symbol,
        session_date,
        open,
        high,
        low,
        close,
        volume,
        feed,
        source_file,
        line
    from bronze.bars_1d
),

sessions as (
    select session_date
    from silver.sessions
)

select
    bars.symbol,
    bars.session_date,
    bars.open,
    bars.high,
    bars.low,
    bars.close,
    bars.volume,
    bars.feed,
    bars.source_file as _source_file,
    bars.line as _line,
    sessions.session_date as _known_session
from bars
left join sessions on sessions.session_date = bars.session_date
