variable "project" {
  type = string
}

variable "services" {
  type = set(string)
}

variable "key_arn" {
  description = "Encrypts the images at rest."
  type        = string
}

variable "disposable" {
  description = "Whether a destroy deletes the images."
  type        = bool
}
