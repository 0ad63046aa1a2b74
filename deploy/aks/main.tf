# A cluster without a CNI; `cargo xtask cluster up --target=aks` installs one.
resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
}

resource "tls_private_key" "nodes" {
  algorithm = "RSA"
  rsa_bits  = 4096
}

resource "azurerm_kubernetes_cluster" "this" {
  name                      = var.name
  location                  = azurerm_resource_group.this.location
  resource_group_name       = azurerm_resource_group.this.name
  dns_prefix                = var.name
  kubernetes_version        = var.kubernetes_version
  oidc_issuer_enabled       = true
  workload_identity_enabled = true

  default_node_pool {
    name           = "nodes"
    node_count     = var.node_count
    vm_size        = var.vm_size
    vnet_subnet_id = azurerm_subnet.nodes.id
  }

  # Nodes that come by themselves would not be watched from their beginning.
  node_provisioning_profile {
    mode = "Manual"
  }

  identity {
    type = "SystemAssigned"
  }

  linux_profile {
    admin_username = "weighbridge"

    ssh_key {
      key_data = tls_private_key.nodes.public_key_openssh
    }
  }

  network_profile {
    network_plugin = "none"
    service_cidr   = "10.96.0.0/16"
    dns_service_ip = "10.96.0.10"
  }
}
