with minutes as (
    select
        ts,
        sum(volume) as minute_volume,
        count(*) as minute_bars
    from silver.bars
    group by ts
),

symbols as (
    select
        symbol,
        max(high) as symbol_high,
        sum(volume) as symbol_volume
    from silver.bars
    group by symbol
),

ranked as (
    select
        bars.symbol,
        bars.ts,
        bars.close,
        bars.volume,
        minutes.minute_volume,
        minutes.minute_bars,
        rank() over (partition by bars.ts order by bars.volume desc, bars.symbol) as volume_rank
    from silver.bars as bars
    inner join minutes on minutes.ts = bars.ts
)

select
    ranked.symbol,
    ranked.ts,
    ranked.close,
    ranked.volume,
    ranked.minute_volume,
    ranked.minute_bars,
    ranked.volume_rank,
    symbols.symbol_high,
    symbols.symbol_volume,
    max(ranked.close) over (partition by ranked.symbol order by ranked.ts rows between 9 preceding and current row) as high_10
from ranked
inner join symbols on symbols.symbol = ranked.symbol
