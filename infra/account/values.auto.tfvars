project = "pulse"
region  = "us-east-1"
