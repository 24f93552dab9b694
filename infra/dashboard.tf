# One page with all metrics of the services.

locals {
  called = toset(flatten([for service in local.services : keys(service.calls)]))
  callers = toset([
    for name, service in local.services : name if length(service.calls) + length(service.invocations) > 0
  ])
  every = toset(keys(local.services))

  # The graphs of each service. `by` names a metric's dimensions, `of` the services that have it.
  graphs = [
    { title = "requests by status", metric = "requests", by = "service,route,status", stats = ["Sum"], of = local.every },
    { title = "duration in ms", metric = "request_duration", by = "service", stats = ["p50", "p99"], of = local.every },
    { title = "failures", metric = "server_errors", by = "service", stats = ["Sum"], of = local.every },
    { title = "in flight", metric = "in_flight", by = "service", stats = ["Maximum"], of = local.every },
    { title = "limit of requests in flight", metric = "in_flight_limit", by = "service", stats = ["Minimum"], of = local.every },
    { title = "shed", metric = "shed", by = "service", stats = ["Sum"], of = local.every },
    { title = "signatures by outcome", metric = "signatures", by = "service,outcome", stats = ["Sum"], of = local.called },
    { title = "calls by outcome", metric = "calls", by = "service,target,outcome", stats = ["Sum"], of = local.callers },
    { title = "breakers (open is 2)", metric = "breaker_state", by = "service,target", stats = ["Maximum"], of = local.callers },
    { title = "endpoints not called", metric = "endpoints_ejected", by = "service,target", stats = ["Maximum"], of = local.callers },
    { title = "retries", metric = "retries", by = "service,target", stats = ["Sum"], of = local.callers },
    { title = "retries beyond the budget", metric = "retry_budget_exhausted", by = "service,target", stats = ["Sum"], of = local.callers },
    { title = "age of the secret in s", metric = "secret_age", by = "service", stats = ["Maximum"], of = local.every },
    { title = "failed refreshes of the secret", metric = "secret_refresh_failures", by = "service", stats = ["Sum"], of = local.every },
    { title = "log lines lost", metric = "log_lines_dropped", by = "service", stats = ["Sum"], of = local.every },
    { title = "tasks by version", metric = "build_info", by = "service,version", stats = ["Sum"], of = local.every },
  ]

  service_graphs = flatten([
    for service in keys(local.services) : [
      for graph in local.graphs : merge(graph, { service = service }) if contains(graph.of, service)
    ]
  ])

  graph = { columns = 3, width = 8, height = 6 }

  widgets = [
    for index, graph in local.service_graphs : {
      type   = "metric"
      x      = index % local.graph.columns * local.graph.width
      y      = floor(index / local.graph.columns) * local.graph.height
      width  = local.graph.width
      height = local.graph.height
      properties = {
        title  = "${graph.service}: ${graph.title}"
        region = var.region
        view   = "timeSeries"
        period = 60
        metrics = [
          for stat in graph.stats : [{
            expression = "SEARCH('{\"${local.prefix}\",${graph.by}} MetricName=\"${graph.metric}\" service=\"${graph.service}\"', '${stat}', 60)"
          }]
        ]
      }
    }
  ]
}

resource "aws_cloudwatch_dashboard" "main" {
  count = var.alarms == null ? 0 : 1

  dashboard_name = "${local.prefix}-${var.environment}"
  dashboard_body = jsonencode({ widgets = local.widgets })
}
