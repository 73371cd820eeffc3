// What a server has used: read from /proc, over all of its processes.
import { readFileSync } from 'node:fs'

/** The kernel's unit of the times in /proc, on every Linux that Node runs on. */
const ticksPerSecond = 100

/** CPU seconds, user and system, of a process, its threads and its children so far. */
export function cpuSeconds(pid: number): number {
  return treeOf(pid).reduce((sum, member) => sum + ownSeconds(member), 0)
}

/** Bytes of memory that a process and its children have in use (VmRSS), or had at most (VmHWM). */
export function memoryBytes(pid: number, field: 'VmRSS' | 'VmHWM' = 'VmRSS'): number {
  return treeOf(pid).reduce((sum, member) => sum + statusBytes(member, field), 0)
}

function treeOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return [pid, ...(children === '' ? [] : children.split(' ').flatMap((id) => treeOf(Number(id))))]
}

function ownSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // Behind the name, which may hold anything: fields 14 and 15 of proc(5).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

function statusBytes(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
}
