select
    date_in_zone(sold_at, 'Europe/Berlin') as day,
    item,
    sum(quantity) as pieces,
    sum(quantity * price) as revenue
from bronze.sales
where quantity >= $least
group by date_in_zone(sold_at, 'Europe/Berlin'), item
