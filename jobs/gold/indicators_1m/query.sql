with bars as (
    select
        symbol,
        session_date,
        ts,
        high,
        low,
        close,
        volume
    from silver.bars_1m
    where session = 'regular'
)

select
    symbol,
    ts,
    session_date as _session_date,
    close,
    sma(close, 20) over by_symbol as sma_20,
    ema(close, 12) over by_symbol as ema_12,
    ema(close, 26) over by_symbol as ema_26,
    rsi(close, 14) over by_symbol as rsi_14,
    macd(close, 12, 26) over by_symbol as macd,
    macd_signal(close, 12, 26, 9) over by_symbol as macd_signal,
    macd_hist(close, 12, 26, 9) over by_symbol as macd_hist,
    vwap((high + low + close) / 3, volume) over by_session as vwap
from bars
-- session_date before ts is the order of ts alone; written this way both windows share one sort.
window
    by_symbol as (partition by symbol order by session_date, ts),
    by_session as (partition by symbol, session_date order by ts)
