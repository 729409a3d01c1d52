# What you set, in terraform.tfvars: see terraform.tfvars.example.
variable "image" {
  description = "The cloud image that new VMs are made from. Its name and date are written into each VM for the inventory."
  type = object({
    name = optional(string, "ubuntu-noble")
    date = string
    # A folder with a date in its name never changes. Behind `current` the file changes under the same name.
    url = optional(string, "https://cloud-images.ubuntu.com/noble/DATE/noble-server-cloudimg-amd64.img")
  })

  validation {
    condition     = can(regex("^20[0-9]{6}$", var.image.date))
    error_message = "image.date is the date of the image's folder, such as \"20260910\"."
  }
}

variable "vms" {
  description = "The VMs by name."
  type = map(object({
    vm_id   = number
    node    = string
    kind    = optional(string, "plain")
    address = optional(string, "dhcp") # or one with its prefix, such as 192.168.1.21/24
    tags    = optional(list(string), [])
    cores   = optional(number)
    memory  = optional(number) # MiB
    disk    = optional(number) # GiB
  }))

  validation {
    condition     = alltrue([for vm in values(var.vms) : contains(keys(var.kinds), vm.kind)])
    error_message = "The kind of a VM is one of those in the variable kinds: plain, k3s-server or k3s-agent."
  }
  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.address == "dhcp" || can(cidrhost(vm.address, 0))])
    error_message = "The address of a VM is \"dhcp\" or has its prefix, such as \"192.168.1.21/24\"."
  }
}

variable "kinds" {
  description = "What the kinds of VMs are made of where a VM says nothing else, and the tags that make them groups of the inventory."
  type        = map(object({ cores = number, memory = number, disk = number, tags = list(string) }))
  default = {
    plain      = { cores = 2, memory = 2048, disk = 20, tags = [] }
    k3s-server = { cores = 2, memory = 4096, disk = 40, tags = ["k3s", "k3s-server"] }
    k3s-agent  = { cores = 4, memory = 8192, disk = 60, tags = ["k3s", "k3s-agent"] }
  }
}

variable "gateway" {
  description = "The gateway of VMs with a static address."
  type        = string
}

variable "user" {
  description = "The user that cloud-init makes, with sudo. Ansible logs in as this one."
  type        = string
  default     = "ops"
}

variable "ssh_keys" {
  description = "Who may log in as that user: the control node's public key, and yours."
  type        = list(string)
}

variable "guest_agent" {
  description = "Whether cloud-init installs the guest agent. Without it a VM with DHCP has no address in the inventory."
  type        = bool
  default     = true
}

variable "datastores" {
  description = "Where disks, images and snippets lie. Snippets have to be allowed on theirs (Datacenter > Storage)."
  type        = object({ disks = string, images = string, snippets = string })
  default     = { disks = "local-lvm", images = "local", snippets = "local" }
}

variable "bridge" {
  type    = string
  default = "vmbr0"
}

variable "node_user" {
  description = "Who logs in on the nodes over ssh, with sudo."
  type        = string
  default     = "root"
}
