"""Makes the pinned emulator behave as ECS, the load balancer and ECR do.

`app` is what the server runs. Each other module replaces the functions of one concern, names the
page of AWS's documentation of each rule, and states what AWS's documentation leaves open.
"""
