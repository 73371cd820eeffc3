// Ends connections whose client takes what it is sent so slowly that it would go on for ever.
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { ListenLimits } from '../config/schema.ts'
import { transportOf } from './connections.ts'

export interface SlowReaderOptions {
  /** Those that may carry requests. */
  connections: ReadonlySet<Socket>
  limits: () => Pick<ListenLimits, 'minRate' | 'minRateWindow'>
  /** Told why a connection is ended, and where it came from. */
  onEnded: (reason: string, source: string) => void
}

/** Looks so often in the time over which the rate is measured, and after so many ms at most. */
const looks = 5
const longestPause = 60_000

/**
 * Looks now and then, until the returned function is called. A connection counts as long as
 * something waits to be sent each time: an upstream that is slow is not its client's fault.
 */
export function endSlowReaders({ connections, limits, onEnded }: SlowReaderOptions): () => void {
  /** When something began to wait, or a rate was found good, and what had been sent by then. */
  const marks = new WeakMap<Socket, { since: number; sent: number }>()
  let timer: NodeJS.Timeout

  function judge(socket: Socket, now: number): void {
    const mark = marks.get(socket)
    const sent = sentOn(socket)
    if (socket.writableLength === 0 || sent === undefined) marks.delete(socket)
    else if (mark === undefined) marks.set(socket, { since: now, sent })
    else if (now - mark.since >= limits().minRateWindow) {
      if ((sent - mark.sent) * 1000 >= limits().minRate * (now - mark.since)) {
        marks.set(socket, { since: now, sent })
      } else {
        onEnded('too_slow', socket.remoteAddress ?? 'unknown')
        socket.destroy()
      }
    }
  }

  function look(): void {
    const now = performance.now()
    for (const socket of connections) judge(socket, now)
    lookLater()
  }

  function lookLater(): void {
    timer = setTimeout(look, Math.min(limits().minRateWindow / looks, longestPause)).unref()
  }

  lookLater()
  return () => clearTimeout(timer)
}

/** Bytes that the kernel has taken, whatever still waits of the same write; Node has no public name for it. */
function sentOn(socket: Socket): number | undefined {
  const { _handle: handle } = transportOf(socket as TLSSocket) as {
    _handle?: { bytesWritten: number; writeQueueSize: number } | null
  }
  return handle ? handle.bytesWritten - handle.writeQueueSize : undefined
}
