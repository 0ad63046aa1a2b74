output "resource_group" {
  description = "Resource group of the cluster, for `az aks get-credentials`."
  value       = azurerm_resource_group.this.name
}

output "api_server" {
  description = "Host name of the API server, for a CNI that replaces kube-proxy."
  value       = azurerm_kubernetes_cluster.this.fqdn
}

output "outside_address" {
  description = "Address of the iperf3 server outside the cluster."
  value       = azurerm_container_group.outside.ip_address
}

output "registry" {
  description = "Host name of the registry, for `deploy-probe --image`."
  value       = azurerm_container_registry.this.login_server
}

output "storage_account" {
  description = "Storage account of the recordings, for `deploy-probe --azure-account`."
  value       = azurerm_storage_account.this.name
}

output "client_id" {
  description = "Client id of the identity that writes them, for `deploy-probe --azure-client-id`."
  value       = azurerm_user_assigned_identity.writer.client_id
}
