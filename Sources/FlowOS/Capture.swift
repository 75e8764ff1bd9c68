import CPcap
import Control
import Engine
import Glibc

/// One frame of a capture.
struct Frame {
  let time: Instant
  let bytes: [UInt8]
  /// Where the IP packet begins; nil where it carries none.
  let offset: Int?
  let vlan: UInt16?
  /// The link-layer source, in the low 48 bits.
  let source: UInt64?

  var packet: ArraySlice<UInt8>? { offset.map { bytes[$0...] } }
}

/// Reads a capture with libpcap, pcap or pcapng.
@safe final class CaptureReader {
  private let handle: OpaquePointer
  let linkType: CInt
  private let path: String
  private(set) var lastTime: Instant?

  init(_ path: String) throws(ControlError) {
    var reason = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
    let opened = unsafe pcap_open_offline_with_tstamp_precision(path, UInt32(PCAP_TSTAMP_PRECISION_NANO), &reason)
    guard let handle = unsafe opened else {
      throw ControlError(
        .usage, "cannot read the capture: \(CaptureReader.text(reason))", at: path,
        mend: "pcap and pcapng are understood")
    }
    unsafe self.handle = handle
    self.path = path
    linkType = unsafe pcap_datalink(handle)
    guard [DLT_EN10MB, DLT_RAW, DLT_IPV4, DLT_IPV6, DLT_LINUX_SLL, DLT_NULL].contains(linkType) else {
      throw ControlError(
        .usage, "its link type \(linkType) is not understood", at: path,
        mend: "Ethernet, raw IP, Linux cooked and loopback captures are")
    }
  }

  deinit { unsafe pcap_close(handle) }

  /// Whether `other` is the file that is read, under whatever name.
  fileprivate func isReading(_ other: stat) -> Bool {
    var own = stat()
    guard unsafe fstat(fileno(pcap_file(handle)), &own) == 0 else { return false }
    return own.st_dev == other.st_dev && own.st_ino == other.st_ino
  }

  static func text(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// The next frame, or nil at the end.
  func next() throws(ControlError) -> Frame? {
    var header: UnsafeMutablePointer<pcap_pkthdr>?
    var data: UnsafePointer<UInt8>?
    switch unsafe pcap_next_ex(handle, &header, &data) {
    case 1:
      guard let header = unsafe header, let data = unsafe data else { return nil }
      let stamp = unsafe header.pointee.ts
      // With nanosecond precision the field for microseconds holds nanoseconds.
      let time = Instant(nanoseconds: Int64(stamp.tv_sec) * 1_000_000_000 + Int64(stamp.tv_usec))
      lastTime = time
      return Frame(
        time: time, bytes: unsafe Array(UnsafeBufferPointer(start: data, count: Int(header.pointee.caplen))),
        linkType: linkType)
    case -2: return nil
    default:
      throw ControlError(.usage, "cannot read on: \(unsafe String(cString: pcap_geterr(handle)))", at: path)
    }
  }
}

extension Frame {
  init(time: Instant, bytes: [UInt8], linkType: CInt) {
    self.time = time
    self.bytes = bytes
    func number(_ at: Int) -> UInt16 { UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1]) }
    var offset: Int?
    var vlan: UInt16?
    var source: UInt64?
    switch linkType {
    case DLT_EN10MB:
      guard bytes.count >= 14 else { break }
      source = bytes[6..<12].reduce(0) { $0 << 8 | UInt64($1) }
      var at = 12
      // The outer tag counts; what is beneath is skipped (802.1Q, 802.1ad).
      while at + 6 <= bytes.count, number(at) == 0x8100 || number(at) == 0x88A8 {
        if vlan == nil { vlan = number(at + 2) & 0xFFF }
        at += 4
      }
      if at + 2 <= bytes.count, number(at) == 0x0800 || number(at) == 0x86DD { offset = at + 2 }
    case DLT_LINUX_SLL:
      if bytes.count >= 16, number(14) == 0x0800 || number(14) == 0x86DD { offset = 16 }
    case DLT_NULL:
      offset = bytes.count > 4 ? 4 : nil
    default:
      offset = 0
    }
    self.offset = offset
    self.vlan = vlan
    self.source = source
  }
}

/// Writes a capture with libpcap. The file is there under its name when ``finish()`` has returned, and not before: a
/// capture that cannot be written to its end leaves what was there as it was.
@safe final class CaptureWriter {
  private let handle: OpaquePointer
  private let dumper: OpaquePointer
  private let linkType: CInt
  private let path: String
  /// The file that is written first, and what it becomes; nil where the path is no regular file but a pipe, for example.
  private let renaming: (from: String, to: String)?
  private var isFinished = false
  /// The link-layer header of the last frame of each IP version, for packets that came without one.
  private var headers: [Bool: [UInt8]] = [:]

  init(_ path: String, like reader: CaptureReader) throws(ControlError) {
    linkType = reader.linkType
    self.path = path
    var status = stat()
    let isPresent = unsafe stat(path, &status) == 0
    let isRegular = !isPresent || status.st_mode & S_IFMT == S_IFREG
    guard !(isPresent && isRegular && reader.isReading(status)) else {
      throw ControlError(
        .usage, "this is the capture that is read; writing it would destroy it", at: path,
        mend: "give the output another name")
    }
    let target = isPresent ? Self.resolved(path) : path
    renaming = path != "-" && isRegular ? (from: "\(target).\(getpid()).partial", to: target) : nil
    let opened = unsafe pcap_open_dead_with_tstamp_precision(
      linkType, 262_144, UInt32(PCAP_TSTAMP_PRECISION_NANO))
    guard let handle = unsafe opened else { throw ControlError(.refused, "no memory for the capture", at: path) }
    guard let dumper = unsafe pcap_dump_open(handle, renaming?.from ?? path) else {
      let reason = unsafe String(cString: pcap_geterr(handle))
      unsafe pcap_close(handle)
      throw ControlError(.usage, "cannot write the capture: \(reason)", at: path)
    }
    unsafe self.handle = handle
    unsafe self.dumper = dumper
  }

  deinit {
    unsafe pcap_dump_close(dumper)
    unsafe pcap_close(handle)
    if let renaming, !isFinished { unsafe unlink(renaming.from) }
  }

  /// The path without symbolic links, so that a link is followed and not replaced.
  private static func resolved(_ path: String) -> String {
    guard let resolved = unsafe realpath(path, nil) else { return path }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }

  /// Completes the capture and gives it its name.
  func finish() throws(ControlError) {
    let isWritten = unsafe pcap_dump_flush(dumper) == 0 && ferror(pcap_dump_file(dumper)) == 0
    guard isWritten, renaming.map({ unsafe rename($0.from, $0.to) == 0 }) ?? true else {
      throw ControlError(
        .refused, "cannot write the capture: \(unsafe String(cString: strerror(errno)))", at: path)
    }
    isFinished = true
  }

  /// Writes a frame as it came.
  func write(_ frame: Frame) {
    remember(frame)
    write(frame.bytes, at: frame.time)
  }

  /// Writes a frame with another packet in it.
  func write(_ frame: Frame, with packet: [UInt8]) {
    remember(frame)
    write(Array(frame.bytes[..<(frame.offset ?? 0)]) + packet, at: frame.time)
  }

  /// Writes a packet that has no frame of its own.
  func write(_ packet: [UInt8], isIPv6: Bool, at time: Instant) {
    write((headers[isIPv6] ?? []) + packet, at: time)
  }

  private func remember(_ frame: Frame) {
    guard let offset = frame.offset, offset < frame.bytes.count else { return }
    headers[frame.bytes[offset] >> 4 == 6] = Array(frame.bytes[..<offset])
  }

  private func write(_ bytes: [UInt8], at time: Instant) {
    var header = pcap_pkthdr()
    header.ts.tv_sec = Int(time.nanoseconds / 1_000_000_000)
    header.ts.tv_usec = Int(time.nanoseconds % 1_000_000_000)
    header.caplen = UInt32(bytes.count)
    header.len = UInt32(bytes.count)
    unsafe bytes.withUnsafeBufferPointer {
      unsafe pcap_dump(UnsafeMutableRawPointer(dumper).assumingMemoryBound(to: UInt8.self), &header, $0.baseAddress)
    }
  }
}
