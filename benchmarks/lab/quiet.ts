// Whether anybody else works on this machine: a busy loop takes longer than the CPU that it gets. And what the host of
// a virtual machine has to do with a figure.
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** What others take of a core while this runs: 0 for nothing, 1 where a loop takes twice its CPU time. */
export function disturbance(): number {
  const before = process.cpuUsage()
  const began = performance.now()
  let x = 1
  for (let n = 0; n < 60_000_000; n += 1) x = (x * 1_103_515_245 + 12_345) | 0
  const passed = performance.now() - began
  const { user, system } = process.cpuUsage(before)
  // The sum is used, so that the loop is not optimised away.
  return x === 0 ? 0 : Math.max(0, passed / ((user + system) / 1000) - 1)
}

/** From here on figures of time say little, and those of CPU less than they should. */
export const mostDisturbance = 0.15

/**
 * Writes so much into a file, and removes it. Pages that the host has not given yet, or has taken back, cost 2 to
 * 10 us of system time each: that is up to 3 CPU s/GiB for whoever happens to write files into them. What was freed
 * last is used first.
 */
export function touchPages(folder: string, bytes: number): void {
  const file = join(folder, 'touched')
  const fd = openSync(file, 'w')
  const part = Buffer.alloc(256 * 1024, 1)
  for (let done = 0; done < bytes; done += part.length) writeSync(fd, part)
  closeSync(fd)
  rmSync(file)
}
