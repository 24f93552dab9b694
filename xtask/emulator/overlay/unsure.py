"""What neither AWS's documentation nor what AWS showed in public tells: the choice that is made here,
and what may be right instead.

The tests play every scenario with each of them, so no text or order below is relied upon.
"""

# The first one is chosen.
CHOICES = {
    # `statusReason` of a service deployment that a newer one has stopped.
    "superseded": (None, "Service deployment was stopped by a newer one."),
    # `statusReason` of one that failed where no rollback was asked for.
    "failed": ("Service deployment failed because the circuit breaker threshold was exceeded.", None),
    # `rolloutStateReason` of the deployment that StopServiceDeployment ended, and of the one before it.
    "stopped rollout": ("ECS deployment rolled back by user.", ""),
    # The messages of StopServiceDeployment's refusals. Their codes are in the API's model.
    "no such deployment": ("The service deployment was not found.", "Service deployment not found."),
    "ended deployment": ("The service deployment has ended.", "Invalid service deployment status."),
    # The reason of a task one of whose containers waited for another in vain.
    "failed dependency": ("a dependency has exited", "dependency failed"),
    # How an event goes on that tells of new tasks, where they replace unhealthy ones.
    "replaced": (" Amazon ECS replaced {} tasks due to an unhealthy status.", ""),
    # Whether tasks that drain are counted as running.
    "draining tasks run": (True, False),
    # Whether a failed task is counted when it begins to stop, instead of when it has stopped.
    # Counted late, one more is started meanwhile, and stopped wherever it is by then.
    "stopping tasks failed": (True, False),
    # Whether the delay of deregistration is waited for where a target never was healthy.
    "unhealthy targets drain": (True, False),
    # Whether requests are sent to new targets, too, where none is healthy.
    "new targets are chosen": (True, False),
    # Whether unhealthy tasks of older deployments are stopped at once.
    "unhealthy old tasks stop": (True, False),
    # Whether a deployment that failed stays in the list without tasks, until ECS is back.
    "failed deployments stay": (True, False),
    # Whether ECS goes back to a definition that has been deregistered since.
    "inactive is a way back": (True, False),
    # How many tasks start without a pause although they failed.
    "unthrottled starts": (3, 1),
    # From which port on Fargate lets any user listen, where the definition does not say.
    "first free port": ("1024", "0"),
}
_chosen = {name: choices[0] for name, choices in CHOICES.items()}


def choice(name):
    return _chosen[name]
