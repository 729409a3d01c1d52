// Copyright: The homelab.patching maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

// kubectl's own way to end.

import kubectlutil "k8s.io/kubectl/pkg/cmd/util"

func kubectlFail(err error) { kubectlutil.CheckErr(err) }
