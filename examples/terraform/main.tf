# The image, and VMs made from it that Terraform leaves alone afterwards: they are patched from the inside.
resource "proxmox_virtual_environment_download_file" "image" {
  for_each = toset([for vm in local.vms : vm.node])

  node_name    = each.key
  datastore_id = var.datastores.images
  content_type = "iso"
  url          = replace(var.image.url, "DATE", var.image.date)
  file_name    = "${local.image}.img"
  # By default every refresh compares the size with the one upstream, and another size replaces the file: its id is then
  # "known after apply", which replaces every VM. A file that has a date in its name needs no such comparison.
  overwrite = false
}

resource "proxmox_virtual_environment_file" "agent" {
  for_each = var.guest_agent ? toset([for vm in local.vms : vm.node]) : []

  node_name    = each.key
  datastore_id = var.datastores.snippets
  content_type = "snippets"

  source_raw {
    file_name = "guest-agent.yaml"
    data      = <<-EOT
      #cloud-config
      packages: [qemu-guest-agent]
      runcmd: [[systemctl, enable, --now, qemu-guest-agent]]
    EOT
  }
}

resource "proxmox_virtual_environment_vm" "vm" {
  for_each = local.vms

  name        = each.key
  vm_id       = each.value.vm_id
  node_name   = each.value.node
  tags        = each.value.tags
  description = each.value.description

  # Another node moves the VM. Without this Terraform would make a new one there.
  migrate = true
  # A reboot is the patch run's business: it drains a K3s node first, and proves what came back.
  reboot_after_update = false
  # Proxmox VE refuses to destroy the VM, whoever asks, until you have taken this away on purpose.
  protection = true

  cpu {
    cores = each.value.cores
    type  = "x86-64-v2-AES"
  }

  memory {
    dedicated = each.value.memory
  }

  operating_system {
    type = "l26"
  }

  scsi_hardware = "virtio-scsi-single"

  disk {
    interface    = "scsi0"
    datastore_id = var.datastores.disks
    file_id      = proxmox_virtual_environment_download_file.image[each.value.node].id
    size         = each.value.disk
    discard      = "on"
    iothread     = true
  }

  network_device {
    bridge = var.bridge
  }

  # Ubuntu's cloud images want a serial console.
  serial_device {}

  agent {
    enabled = var.guest_agent
    # Every refresh waits for an agent that does not answer, 15 minutes by default.
    timeout = "2m"
  }

  initialization {
    datastore_id = var.datastores.disks
    # vendor_data is added to what Proxmox VE writes; user_data would replace it, the user and the host's name with it.
    vendor_data_file_id = var.guest_agent ? proxmox_virtual_environment_file.agent[each.value.node].id : null

    ip_config {
      ipv4 {
        address = each.value.address
        gateway = each.value.gateway
      }
    }

    user_account {
      username = var.user
      keys     = var.ssh_keys
    }
  }

  lifecycle {
    ignore_changes = [
      # A newer image is for new VMs. Without this line it destroys every VM and makes it anew.
      disk[0].file_id,
      # The VM keeps the image that it was made from, and the line that says so.
      description,
      # Another snippet would do the same as another image, for something that was read at the first boot only.
      initialization[0].vendor_data_file_id,
    ]
  }
}
