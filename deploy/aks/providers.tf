# The subscription is taken from ARM_SUBSCRIPTION_ID.
provider "azurerm" {
  # The storage account hands out no keys.
  storage_use_azuread = true

  resource_providers_to_register = [
    "Microsoft.ContainerInstance",
    "Microsoft.ContainerRegistry",
    "Microsoft.ContainerService",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.Storage",
  ]

  features {}
}
