variable "name" {
  description = "Name of the cluster, and the beginning of the names of all that belongs to it."
  type        = string
  default     = "weighbridge"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "Lower-case letters, digits and hyphens, 3 to 32 of them, beginning with a letter."
  }
}

variable "location" {
  description = "Azure region of everything."
  type        = string
  default     = "westeurope"
}

variable "kubernetes_version" {
  description = "Kubernetes of the cluster; `cargo xtask cluster` gives the one of deploy/versions.yaml. Below 1.35 the nodes run Ubuntu 22.04 with kernel 5.15, from there on 24.04."
  type        = string
}

variable "node_count" {
  description = "Nodes; the egress study needs two, one for the clients and one for the gateway."
  type        = number
  default     = 2

  validation {
    condition     = var.node_count >= 2
    error_message = "At least 2: clients and gateway are on different nodes."
  }
}

variable "vm_size" {
  description = "Size of the nodes; of sizes without constant frequency the figures scatter more."
  type        = string
  default     = "Standard_D4s_v5"
}

variable "iperf3_image" {
  description = "Image of the server outside the cluster."
  type        = string
  default     = "docker.io/nicolaka/netshoot:v0.13"
}

variable "namespace" {
  description = "Namespace of the probes, whose service accounts may write to the store."
  type        = string
  default     = "weighbridge"
}
