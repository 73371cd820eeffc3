// Every kind of client that a certificate is handed over to, by name.
import { browserHandover } from './browser.ts'
import { buildkitHandover } from './buildkit.ts'
import { containerdHandover } from './containerd.ts'
import { dockerHandover } from './docker.ts'
import { k3sHandover, rke2Handover } from './k3s.ts'
import { kubernetesHandover } from './kubernetes.ts'
import type { Handover, HandoverInput } from './handover.ts'
import { podmanHandover } from './podman.ts'

export const handoverTargets = [
  'containerd',
  'docker',
  'podman',
  'k3s',
  'rke2',
  'buildkit',
  'kubernetes',
  'browser',
] as const

export type HandoverTarget = (typeof handoverTargets)[number]

/** Whose files lie where the node wants them, so that they are unpacked at `/`. */
export function isForRoot(target: HandoverTarget): boolean {
  return target !== 'kubernetes' && target !== 'browser'
}

/** The files for each kind of client. `passphrase` is that of a browser's file. */
export const handovers: Readonly<
  Record<HandoverTarget, (input: HandoverInput, passphrase: string) => Handover>
> = {
  containerd: containerdHandover,
  docker: dockerHandover,
  podman: podmanHandover,
  k3s: k3sHandover,
  rke2: rke2Handover,
  buildkit: buildkitHandover,
  kubernetes: kubernetesHandover,
  browser: browserHandover,
}
