# Security groups and their rules. Inside the network rules name security groups, not addresses.

locals {
  # Who connects to which service. The load balancer checks the health of services that it forwards
  # no request to as well.
  calls = merge(
    {
      for called, port in var.ports :
      "load_balancer_to_${called}" => { from = aws_security_group.load_balancer.id, to = called }
    },
    merge([
      for caller, called in var.calls : {
        for name in called : "${caller}_to_${name}" => { from = aws_security_group.service[caller].id, to = name }
      }
    ]...),
  )

  load_balancer_ports = var.https ? [80, 443] : [80]

  # How each service's tasks reach the AWS APIs.
  through_endpoints = { for name, group in aws_security_group.service : name => group.id if var.interface_endpoints }
  through_nat       = { for name, group in aws_security_group.service : name => group.id if var.nat_gateway }
}

resource "aws_default_security_group" "unused" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${var.prefix}-unused" }
}

resource "aws_security_group" "load_balancer" {
  #checkov:skip=CKV2_AWS_5:attached in the module cluster, which checkov does not follow

  name        = "${var.prefix}-load-balancer"
  description = "The load balancer"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.prefix}-load-balancer" }
}

resource "aws_security_group" "service" {
  #checkov:skip=CKV2_AWS_5:attached in the module service, which checkov does not follow

  for_each = toset(keys(var.ports))

  name        = "${var.prefix}-${each.key}"
  description = "Tasks of ${each.key}"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.prefix}-${each.key}" }
}

resource "aws_security_group" "endpoints" {
  count = var.interface_endpoints ? 1 : 0

  name        = "${var.prefix}-endpoints"
  description = "AWS APIs inside the network"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${var.prefix}-endpoints" }
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
  referenced_security_group_id = aws_security_group.service[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = var.ports[each.value.to]
  to_port                      = var.ports[each.value.to]
}

resource "aws_vpc_security_group_ingress_rule" "call" {
  for_each = local.calls

  description                  = each.key
  security_group_id            = aws_security_group.service[each.value.to].id
  referenced_security_group_id = each.value.from
  ip_protocol                  = "tcp"
  from_port                    = var.ports[each.value.to]
  to_port                      = var.ports[each.value.to]
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
