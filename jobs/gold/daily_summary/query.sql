with bars as (
    select
        symbol,
        session_date,
        ts,
        open,
        high,
        low,
        close,
        volume
    from silver.bars_1m
    where session = 'regular'
),

sessions as (
    select
        session_date,
        row_number() over (order by session_date) as session_number,
        cast((date_part('epoch', close_ts) - date_part('epoch', open_ts)) / 60 as bigint) as expected_bars
    from silver.sessions
),

-- The running vwap adds in the order of time, so that the day's last value does not depend on how rows were spread.
priced as (
    select
        symbol,
        session_date,
        ts,
        open,
        high,
        low,
        close,
        volume,
        vwap((high + low + close) / 3, volume) over (partition by symbol, session_date order by ts) as vwap
    from bars
),

days as (
    select
        symbol,
        session_date,
        first_value(open order by ts) as open,
        max(high) as high,
        min(low) as low,
        last_value(close order by ts) as close,
        sum(volume) as volume,
        last_value(vwap order by ts) as vwap,
        count(*) as bars
    from priced
    group by symbol, session_date
),

numbered as (
    select
        days.symbol,
        days.session_date,
        days.open,
        days.high,
        days.low,
        days.close,
        days.volume,
        days.vwap,
        days.bars,
        sessions.expected_bars,
        sessions.session_number,
        lag(days.close) over by_symbol as previous_close,
        lag(sessions.session_number) over by_symbol as previous_number
    from days
    inner join sessions on sessions.session_date = days.session_date
    window by_symbol as (partition by days.symbol order by days.session_date)
)

select
    symbol,
    session_date,
    open,
    high,
    low,
    close,
    volume,
    vwap,
    bars,
    expected_bars,
    expected_bars - bars as missing_bars,
    case when session_number = previous_number + 1 then close / previous_close - 1 end as return_1d
from numbered
