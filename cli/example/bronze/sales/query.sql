select
    sold_at,
    item,
    quantity,
    price,
    city,
    source_file,
    line
from raw.sales
