output "vpc_id" {
  description = "Id of the network."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Private subnets in the order of the zones; the first has the endpoints, and clusters start there."
  value       = [for zone in var.network.zones : aws_subnet.private[zone].id]
}

output "security_group_ids" {
  description = "Security groups: primary, workers, service, endpoints."
  value       = { for name, group in aws_security_group.this : name => group.id }
}

output "interface_endpoints" {
  description = "Services with an interface endpoint, and in how many zones; each is paid by the hour."
  value       = { services = var.parked ? [] : sort(local.wanted), zones = var.network.endpoint_zones }
}
