project     = "pulse"
environment = "prod"
region      = "us-east-1"

# Endpoints in both zones: when one zone fails, a cluster starts in the other.
network = {
  cidr           = "10.30.0.0/16"
  zones          = ["us-east-1a", "us-east-1b"]
  endpoint_zones = 2
}

nodes  = { core_count = 2, task_count = 2, volume_gb = 200 }
limits = { month_usd = 1000, queue_seconds = 600 }

# Who may start clusters and read tables must be named, with ARNs: principals = { submitters = ["arn:.."], readers = ["arn:.."] }.
principals = { must_be_named = true }
