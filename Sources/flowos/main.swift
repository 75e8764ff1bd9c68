import FlowOS

FlowOS.main()
