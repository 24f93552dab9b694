# What holds in production only.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "traffic" {
  module {
    source = "./modules/network"
  }

  variables {
    prefix         = "demo"
    cidr           = var.vpc_cidr
    ports          = { axon = 80, orbit = 81 }
    calls          = { axon = [], orbit = ["axon"] }
    https          = true
    flow_log_group = "/vpc/demo"
    key_arn        = "arn:aws:kms:us-east-1:111122223333:key/1"
  }

  # All rules, by resource and key. The AWS APIs are reached through interface endpoints, and no
  # task reaches the internet.
  assert {
    condition = jsonencode(sort(concat(
      [for name in keys(aws_vpc_security_group_ingress_rule.internet) : "in: internet to load balancer, ${name}"],
      [for name in keys(aws_vpc_security_group_ingress_rule.call) : "in: ${name}"],
      [for name in keys(aws_vpc_security_group_ingress_rule.endpoints) : "in: ${name} to endpoints"],
      [for name in keys(aws_vpc_security_group_egress_rule.call) : "out: ${name}"],
      [for name in keys(aws_vpc_security_group_egress_rule.endpoints) : "out: ${name} to endpoints"],
      [for name in keys(aws_vpc_security_group_egress_rule.s3) : "out: ${name} to image layers"],
      [for name in keys(aws_vpc_security_group_egress_rule.internet) : "out: ${name} to internet"],
      ))) == jsonencode([
      "in: axon to endpoints",
      "in: internet to load balancer, 443",
      "in: internet to load balancer, 80",
      "in: load_balancer_to_axon",
      "in: load_balancer_to_orbit",
      "in: orbit to endpoints",
      "in: orbit_to_axon",
      "out: axon to endpoints",
      "out: axon to image layers",
      "out: load_balancer_to_axon",
      "out: load_balancer_to_orbit",
      "out: orbit to endpoints",
      "out: orbit to image layers",
      "out: orbit_to_axon",
    ])
    error_message = "only these connections can be opened"
  }
  assert {
    condition = alltrue([
      for rule in concat(
        values(aws_vpc_security_group_ingress_rule.call), values(aws_vpc_security_group_egress_rule.call),
        values(aws_vpc_security_group_ingress_rule.endpoints), values(aws_vpc_security_group_egress_rule.endpoints),
      ) : rule.referenced_security_group_id != null && rule.cidr_ipv4 == null
    ])
    error_message = "inside the network, rules name security groups"
  }
  assert {
    condition = jsonencode([
      for rules in [aws_vpc_security_group_ingress_rule.call, aws_vpc_security_group_egress_rule.call] :
      { for name, rule in rules : name => [rule.from_port, rule.to_port] }
      ]) == jsonencode([
      for rules in range(2) : { load_balancer_to_axon = [80, 80], load_balancer_to_orbit = [81, 81], orbit_to_axon = [80, 80] }
    ])
    error_message = "a service is reached on its own port and no other"
  }
  assert {
    condition     = length(aws_default_security_group.unused.ingress) == 0 && length(aws_default_security_group.unused.egress) == 0
    error_message = "the default security group has no rules"
  }
  assert {
    condition     = alltrue([for subnet in concat(aws_subnet.private, aws_subnet.public) : subnet.map_public_ip_on_launch != true])
    error_message = "no subnet assigns public addresses"
  }
  assert {
    condition     = length(aws_nat_gateway.main) == 0 && length(aws_route.private_internet) == 0 && length(aws_vpc_endpoint.interface) == 6
    error_message = "tasks reach the AWS APIs through endpoints, and nothing outside the network"
  }
  assert {
    condition     = aws_flow_log.main[0].traffic_type == "ALL" && aws_cloudwatch_log_group.flows[0].kms_key_id == var.key_arn
    error_message = "all flows are logged, encrypted"
  }
  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.flows.statement : alltrue([for arn in statement.resources : startswith(arn, "arn:aws:logs:${var.region}:${var.account_id}:log-group:/vpc/demo")]) if jsonencode(statement.actions) != jsonencode(["logs:DescribeLogGroups"])])
    error_message = "flow logs write their own log and nothing else"
  }
}
