// What the schema cannot say of `replicas`: who they are needs one way, and certificates on both sides.
import type { TellAt } from '../draft.ts'
import type { ReplicasConfig } from './replicas.ts'

export function checkReplicas(replicas: ReplicasConfig, clientAuth: string, tell: TellAt): void {
  const { list, dns, self, identity, tls } = replicas
  for (const [index, replica] of list.entries()) {
    if (list.indexOf(replica) < index) tell(['list', String(index)], 'is in the list twice')
  }
  if (!hasReplicas(replicas)) return
  if (dns !== undefined && list.length > 0) tell(['dns'], 'and list exclude each other')
  if (self !== undefined && dns === undefined && !list.includes(self)) {
    tell(['self'], 'must be one of list')
  }
  if (identity.length === 0) {
    tell(
      ['identity'],
      'is missing: without the names of their certificates nobody is a replica',
      'absent',
    )
  }
  for (const [index, name] of identity.entries()) {
    if (/^\*+$/.test(name)) {
      tell(['identity', String(index)], 'names everybody, and replicas may pull everything')
    }
  }
  if (tls.cert === undefined) {
    tell(['tls', 'cert'], 'is missing: replicas know each other by their certificates', 'absent')
  }
  if (clientAuth === 'none') {
    tell(
      ['identity'],
      'needs client certificates: set listen.tls.clientAuth to optional or required',
    )
  }
}

/** Whether there is anybody to share with. */
export function hasReplicas({ list, dns }: Pick<ReplicasConfig, 'list' | 'dns'>): boolean {
  return list.length > 0 || dns !== undefined
}
