# Two networks that know each other's addresses: between them nothing translates, so that the server
# outside sees who came.
resource "azurerm_virtual_network" "cluster" {
  name                = "${var.name}-cluster"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  address_space       = ["10.0.0.0/16"]
}

resource "azurerm_subnet" "nodes" {
  name                 = "nodes"
  resource_group_name  = azurerm_resource_group.this.name
  virtual_network_name = azurerm_virtual_network.cluster.name
  address_prefixes     = ["10.0.0.0/22"]
}

resource "azurerm_virtual_network" "outside" {
  name                = "${var.name}-outside"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  address_space       = ["10.1.0.0/16"]
}

resource "azurerm_subnet" "outside" {
  name                 = "servers"
  resource_group_name  = azurerm_resource_group.this.name
  virtual_network_name = azurerm_virtual_network.outside.name
  address_prefixes     = ["10.1.0.0/24"]

  delegation {
    name = "containers"

    service_delegation {
      name    = "Microsoft.ContainerInstance/containerGroups"
      actions = ["Microsoft.Network/virtualNetworks/subnets/action"]
    }
  }
}

resource "azurerm_virtual_network_peering" "out" {
  name                      = "out"
  resource_group_name       = azurerm_resource_group.this.name
  virtual_network_name      = azurerm_virtual_network.cluster.name
  remote_virtual_network_id = azurerm_virtual_network.outside.id
}

resource "azurerm_virtual_network_peering" "in" {
  name                      = "in"
  resource_group_name       = azurerm_resource_group.this.name
  virtual_network_name      = azurerm_virtual_network.outside.name
  remote_virtual_network_id = azurerm_virtual_network.cluster.id
}

resource "azurerm_container_group" "outside" {
  name                = "${var.name}-outside"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  os_type             = "Linux"
  ip_address_type     = "Private"
  subnet_ids          = [azurerm_subnet.outside.id]

  container {
    name     = "iperf3"
    image    = var.iperf3_image
    cpu      = 4
    memory   = 4
    commands = ["iperf3", "--server", "--port=5201"]

    ports {
      port     = 5201
      protocol = "TCP"
    }

    ports {
      port     = 5201
      protocol = "UDP"
    }
  }
}
