# From what you set to what each VM is. Nothing here needs the provider: `terraform console` shows it, type local.vms
locals {
  image = "${var.image.name}-${var.image.date}"

  vms = {
    for name, vm in var.vms : name => {
      vm_id  = vm.vm_id
      node   = vm.node
      cores  = coalesce(vm.cores, var.kinds[vm.kind].cores)
      memory = coalesce(vm.memory, var.kinds[vm.kind].memory)
      disk   = coalesce(vm.disk, var.kinds[vm.kind].disk)
      # Proxmox VE keeps tags sorted and lower case; in any other order every plan would show a difference.
      tags = sort(distinct([for tag in concat(["terraform"], var.kinds[vm.kind].tags, vm.tags) : lower(tag)]))
      # The inventory reads the line "image:"; Proxmox VE itself does not know where a disk came from.
      description = "Managed by Terraform\nimage: ${local.image}"
      address     = vm.address
      gateway     = vm.address == "dhcp" ? null : var.gateway
    }
  }
}
