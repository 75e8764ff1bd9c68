import FlowOS

FlowOS.main(modules: [Shout.self, Whisper.self, Redact.self, Remark.self, Ponder.self])
