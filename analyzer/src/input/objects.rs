//! Kubernetes objects from a folder of YAML and JSON files, as `kubectl get -o yaml|json` writes
//! them or as people keep them in a repository.
