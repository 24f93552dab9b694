# All that the services say of themselves, on one page.

locals {
  # A row of graphs for each service. Metrics are found by name, whatever their other dimensions.
  graphs = [
    { title = "requests by status", metric = "requests", by = "service,route,status", stats = ["Sum"] },
    { title = "duration in ms", metric = "request_duration", by = "service", stats = ["p50", "p99"] },
    { title = "failures", metric = "server_errors", by = "service", stats = ["Sum"] },
    { title = "log lines lost", metric = "log_lines_dropped", by = "service", stats = ["Sum"] },
    { title = "versions", metric = "build_info", by = "service,version", stats = ["Sum"] },
  ]

  graph = { columns = 3, width = 8, height = 6 }

  widgets = flatten([
    for row, service in sort(local.services) : [
      for index, graph in local.graphs : {
        type   = "metric"
        x      = index % local.graph.columns * local.graph.width
        y      = (row * ceil(length(local.graphs) / local.graph.columns) + floor(index / local.graph.columns)) * local.graph.height
        width  = local.graph.width
        height = local.graph.height
        properties = {
          title  = "${service}: ${graph.title}"
          region = var.region
          view   = "timeSeries"
          period = 60
          metrics = [
            for stat in graph.stats : [{
              expression = "SEARCH('{\"${var.project}\",${graph.by}} MetricName=\"${graph.metric}\" service=\"${service}\"', '${stat}', 60)"
            }]
          ]
        }
      }
    ]
  ])
}

resource "aws_cloudwatch_dashboard" "main" {
  count = var.alarms == null ? 0 : 1

  dashboard_name = "${var.project}-${var.environment}"
  dashboard_body = jsonencode({ widgets = local.widgets })
}
