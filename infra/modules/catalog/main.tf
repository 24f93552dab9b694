# The entries of services/catalog.json by name, with their defaults. No resources: what is created
# for an entry must not depend on its place in the list.

locals {
  entries = jsondecode(var.document).components

  all = {
    for kind in ["service", "function"] :
    kind => { for entry in local.entries : entry.name => entry if entry.kind == kind }
  }
  active = {
    for kind, entries in local.all :
    kind => { for name, entry in entries : name => entry if !try(entry.retired, false) }
  }

  services = {
    for name, entry in local.active.service : name => {
      port          = entry.port
      default_route = try(entry.default_route, false)
      alarms        = merge({ p99_ms = 1000, server_error_percent = 5 }, try(entry.alarms, {}))

      # A map is in the order of its keys, here that of the priorities.
      routes = values({
        for route in try(entry.routes, []) : format("%05d", route.priority) => {
          priority = route.priority
          path     = route.path
          headers  = try(route.headers, {})
          exposed  = try(route.exposed, true)
        }
      })

      # By the called service and function.
      calls       = { for call in try(entry.calls, []) : call.service => call.path if can(call.service) }
      invocations = sort([for call in try(entry.calls, []) : call.function if can(call.function)])

      # By what is called, the outcomes that set off an alarm.
      alarm_outcomes = {
        for call in try(entry.calls, []) :
        try(call.service, call.function) => sort(call.alarm_outcomes) if length(try(call.alarm_outcomes, [])) > 0
      }
    }
  }

  # Names that other resources of an environment have, or its pipeline, or that are in placeholders.
  reserved = ["deploy", "ecs-execution", "endpoints", "execution", "flows", "load-balancer", "plan"]

  names_refused = [
    for entry in local.entries : entry.name
    if !can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", entry.name)) || length(entry.name) > 15 ||
    contains(local.reserved, entry.name) || endswith(entry.name, "-placeholder")
  ]

  priorities = flatten([for entry in local.entries : try(entry.routes[*].priority, [])])

  calls_refused = flatten([
    for name, service in local.services : concat(
      [for called in keys(service.calls) : "${name} calls ${called}" if !contains(keys(local.active.service), called)],
      [for called in service.invocations : "${name} calls ${called}" if !contains(keys(local.active.function), called)],
    )
  ])

  unreachable = [for name, service in local.services : name if !service.default_route && length(service.routes) == 0]
}
