project     = "pulse"
environment = "dev"
region      = "us-east-1"

# One zone with endpoints: a cluster lies in one zone anyway, and each zone costs about 22 USD a month.
network = {
  cidr           = "10.20.0.0/16"
  zones          = ["us-east-1a", "us-east-1b"]
  endpoint_zones = 1
}

key    = { deletion_days = 7 }
limits = { month_usd = 200 }
