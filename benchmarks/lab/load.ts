// The load client, seen from a benchmark.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Call, ClientFiles, Reply, Result } from './client.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'

/** Resolves with what came of the call. One call at a time. */
export type Load = ((call: Call) => Promise<Result>) & { pid: number }

/** Starts a client, ended with the scope. */
export function startLoad(scope: Scope, { ca, cert, key }: ClientFiles): Load {
  const client = fork(join(import.meta.dirname, 'client.ts'), [ca, cert, key])
  const gone = once(client, 'exit').then(() => {
    throw new Error('the load client has ended')
  })
  gone.catch(() => undefined)
  scope.teardown(() => client.kill())
  const load = async (call: Call) => {
    const replied = once(client, 'message') as Promise<[Reply]>
    client.send(call)
    const [reply] = await Promise.race([replied, gone])
    if ('error' in reply) throw new Error(reply.error)
    return reply.result
  }
  return Object.assign(load, { pid: client.pid ?? 0 })
}
