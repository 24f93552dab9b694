variable "document" {
  description = "The text of services/catalog.json."
  type        = string
}
