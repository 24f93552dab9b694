# Security groups and their rules. Inside the network rules name security groups, not addresses.

locals {
  # On the services' port. The load balancer checks axon's health even where it forwards no request
  # to it.
  calls = {
    load_balancer_to_axon  = { from = aws_security_group.load_balancer.id, to = aws_security_group.service["axon"].id }
    load_balancer_to_orbit = { from = aws_security_group.load_balancer.id, to = aws_security_group.service["orbit"].id }
    orbit_to_axon          = { from = aws_security_group.service["orbit"].id, to = aws_security_group.service["axon"].id }
  }

  load_balancer_ports = var.https ? [80, 443] : [80]

  # How each service's tasks reach the AWS APIs.
  through_endpoints = { for name, group in aws_security_group.service : name => group.id if var.interface_endpoints }
  through_nat       = { for name, group in aws_security_group.service : name => group.id if var.nat_gateway }
}

resource "aws_default_security_group" "unused" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.project}-unused" }
}

resource "aws_security_group" "load_balancer" {
  #checkov:skip=CKV2_AWS_5:attached in the module cluster, which checkov does not follow

  name        = "${var.project}-load-balancer"
  description = "The load balancer"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.project}-load-balancer" }
}

resource "aws_security_group" "service" {
  #checkov:skip=CKV2_AWS_5:attached in the module service, which checkov does not follow

  for_each = toset(["axon", "orbit"])

  name        = "${var.project}-${each.key}"
  description = "Tasks of ${each.key}"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.project}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  count = var.interface_endpoints ? 1 : 0

  name        = "${var.project}-endpoints"
  description = "AWS APIs inside the network"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.project}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "internet" {
  for_each = toset([for port in local.load_balancer_ports : tostring(port)])

  description       = "The internet"
  security_group_id = aws_security_group.load_balancer.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
}

resource "aws_vpc_security_group_egress_rule" "call" {
  for_each = local.calls

  description                  = each.key
  security_group_id            = each.value.from
  referenced_security_group_id = each.value.to
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_vpc_security_group_ingress_rule" "call" {
  for_each = local.calls

  description                  = each.key
  security_group_id            = each.value.to
  referenced_security_group_id = each.value.from
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

# To the AWS APIs, by TLS only.

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  for_each = local.through_endpoints

  description                  = "AWS APIs inside the network"
  security_group_id            = each.value
  referenced_security_group_id = aws_security_group.endpoints[0].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = local.through_endpoints

  description                  = each.key
  security_group_id            = aws_security_group.endpoints[0].id
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = local.through_endpoints

  description       = "Image layers"
  security_group_id = each.value
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "internet" {
  for_each = local.through_nat

  description       = "AWS APIs through the NAT gateway"
  security_group_id = each.value
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
