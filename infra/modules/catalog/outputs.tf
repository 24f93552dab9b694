output "services" {
  description = "By name, the services that are not retired."
  value       = local.services

  # xtask refuses these too, with the line; here they hold for who applies by hand.
  precondition {
    condition     = length(local.names_refused) == 0
    error_message = "Use at most 15 characters of a-z, 0-9 and single inner hyphens, beginning with a letter, and none of ${join(", ", local.reserved)} or *-placeholder: ${join(", ", local.names_refused)}."
  }
  precondition {
    condition     = length(distinct(local.entries[*].name)) == length(local.entries)
    error_message = "Two components of the catalog have the same name."
  }
  precondition {
    condition     = length([for name, service in local.services : name if service.default_route]) == 1
    error_message = "Exactly one service that is not retired has the default_route."
  }
  precondition {
    condition     = length(local.unreachable) == 0
    error_message = "A service without the default_route needs a route, because ECS accepts only a target group that a listener uses: ${join(", ", local.unreachable)}."
  }
  precondition {
    condition     = length(distinct(local.priorities)) == length(local.priorities)
    error_message = "Two routes of the catalog have the same priority."
  }
  precondition {
    condition     = length(local.calls_refused) == 0
    error_message = "What is called must be in the catalog and not retired: ${join(", ", local.calls_refused)}."
  }
}

output "functions" {
  description = "Names of the functions that are not retired."
  value       = toset(keys(local.active.function))
}

output "all_services" {
  description = "Names of the services, retired ones included."
  value       = toset(keys(local.all.service))
}

output "all_functions" {
  description = "Names of the functions, retired ones included."
  value       = toset(keys(local.all.function))
}

output "retired" {
  description = "Names of the retired components, sorted."
  value       = sort([for entry in local.entries : entry.name if try(entry.retired, false)])
}
