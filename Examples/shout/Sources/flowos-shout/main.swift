import FlowOS

FlowOS.main(modules: [Shout.self, Whisper.self, Redact.self, Ponder.self])
