# Where images come from and recordings go to. Pods write to the store in the name of a managed
# identity; no key is handed out.
locals {
  # Names of registries and storage accounts are unique in all of Azure, have no hyphens and at most
  # 24 letters.
  short_name  = substr(replace(var.name, "-", ""), 0, 14)
  unique_name = "${local.short_name}${substr(sha1(azurerm_resource_group.this.id), 0, 10)}"
}

resource "azurerm_container_registry" "this" {
  name                = local.unique_name
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
  sku                 = "Basic"
}

resource "azurerm_role_assignment" "pull" {
  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_kubernetes_cluster.this.kubelet_identity[0].object_id
}

resource "azurerm_storage_account" "this" {
  name                      = local.unique_name
  location                  = azurerm_resource_group.this.location
  resource_group_name       = azurerm_resource_group.this.name
  account_tier              = "Standard"
  account_replication_type  = "LRS"
  shared_access_key_enabled = false
}

resource "azurerm_storage_container" "recordings" {
  name               = "weighbridge"
  storage_account_id = azurerm_storage_account.this.id
}

resource "azurerm_user_assigned_identity" "writer" {
  name                = "${var.name}-writer"
  location            = azurerm_resource_group.this.location
  resource_group_name = azurerm_resource_group.this.name
}

resource "azurerm_role_assignment" "write" {
  scope                = azurerm_storage_container.recordings.id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.writer.principal_id
}

resource "azurerm_role_assignment" "read" {
  scope                = azurerm_storage_container.recordings.id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = data.azurerm_client_config.current.object_id
}

data "azurerm_client_config" "current" {}

resource "azurerm_federated_identity_credential" "writer" {
  for_each = toset(["weighbridge-probe", "weighbridge-recorder"])

  name                      = each.key
  user_assigned_identity_id = azurerm_user_assigned_identity.writer.id
  audience                  = ["api://AzureADTokenExchange"]
  issuer                    = azurerm_kubernetes_cluster.this.oidc_issuer_url
  subject                   = "system:serviceaccount:${var.namespace}:${each.key}"
}
