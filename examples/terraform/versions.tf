# Which Terraform (or OpenTofu) and which provider this was written for.
terraform {
  # 1.9 is the first in which a variable may be checked against another one.
  required_version = ">= 1.9"

  required_providers {
    proxmox = {
      source = "bpg/proxmox"
      # 0.88.0 imported the image again into the disks of existing VMs: it must never be installed, so the pin begins
      # well above it. 1.0 renames resources.
      version = ">= 0.99.0, < 1.0.0"
    }
  }
}

# Where Proxmox VE is and who asks comes from the environment: PROXMOX_VE_ENDPOINT, PROXMOX_VE_API_TOKEN. The provider
# works on a node over ssh for two things that the API cannot do, importing an image by `file_id` and writing a snippet.
provider "proxmox" {
  ssh {
    agent    = true
    username = var.node_user
  }
}
