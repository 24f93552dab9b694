variable "prefix" {
  type = string
}

variable "services" {
  description = "Services that have images, retired ones included."
  type        = set(string)
}

variable "key_arn" {
  description = "Encrypts the images at rest."
  type        = string
}

variable "disposable" {
  description = "Whether a destroy deletes the images."
  type        = bool
}
