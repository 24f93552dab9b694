# One page with all metrics of the services.

locals {
  # The graphs of each service. `by` names a metric's dimensions, `of` the services that have it.
  graphs = [
    { title = "requests by status", metric = "requests", by = "service,route,status", stats = ["Sum"], of = ["axon", "orbit"] },
    { title = "duration in ms", metric = "request_duration", by = "service", stats = ["p50", "p99"], of = ["axon", "orbit"] },
    { title = "failures", metric = "server_errors", by = "service", stats = ["Sum"], of = ["axon", "orbit"] },
    { title = "in flight", metric = "in_flight", by = "service", stats = ["Maximum"], of = ["axon", "orbit"] },
    { title = "shed", metric = "shed", by = "service", stats = ["Sum"], of = ["axon", "orbit"] },
    { title = "signatures by outcome", metric = "signatures", by = "service,outcome", stats = ["Sum"], of = ["axon"] },
    { title = "calls by outcome", metric = "calls", by = "service,target,outcome", stats = ["Sum"], of = ["orbit"] },
    { title = "breakers (open is 2)", metric = "breaker_state", by = "service,target", stats = ["Maximum"], of = ["orbit"] },
    { title = "retries", metric = "retries", by = "service,target", stats = ["Sum"], of = ["orbit"] },
    { title = "retries beyond the budget", metric = "retry_budget_exhausted", by = "service,target", stats = ["Sum"], of = ["orbit"] },
    { title = "age of the secret in s", metric = "secret_age", by = "service", stats = ["Maximum"], of = ["axon", "orbit"] },
    { title = "failed refreshes of the secret", metric = "secret_refresh_failures", by = "service", stats = ["Sum"], of = ["axon", "orbit"] },
    { title = "log lines lost", metric = "log_lines_dropped", by = "service", stats = ["Sum"], of = ["axon", "orbit"] },
    { title = "tasks by version", metric = "build_info", by = "service,version", stats = ["Sum"], of = ["axon", "orbit"] },
  ]

  service_graphs = flatten([
    for service in sort(local.services) : [
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
            expression = "SEARCH('{\"${var.project}\",${graph.by}} MetricName=\"${graph.metric}\" service=\"${graph.service}\"', '${stat}', 60)"
          }]
        ]
      }
    }
  ]
}

resource "aws_cloudwatch_dashboard" "main" {
  count = var.alarms == null ? 0 : 1

  dashboard_name = "${var.project}-${var.environment}"
  dashboard_body = jsonencode({ widgets = local.widgets })
}
